# The arguments behind $5 are variables for the environment of the command, encoded as it is.
place=0;
for variable in "$@"; do
  place=$((place + 1));
  [ $place -gt 5 ] || continue;
  case $variable in =*) variable=${variable#=} ;; *) variable=$(printf %b "${variable#?}") ;; esac;
  export "$variable";
done;
