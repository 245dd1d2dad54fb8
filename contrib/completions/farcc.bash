# bash completion for farcc(1): a command follows, with its own completion.
complete -F _command farcc
