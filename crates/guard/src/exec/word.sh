# The command is in $5: behind `=` as it is, behind `%` encoded for `printf %b`.
case $5 in =*) command=${5#=} ;; *) command=$(printf %b "${5#?}") ;; esac;
