# fish completion for farcc(1): a command follows, with its own completion.
complete -c farcc -x -a '(__fish_complete_subcommand)'
