# Completion of ctl for bash. `ctl` itself gives the candidates; it reads the inventory and the journal, and no node.
_ctl() {
    # bash also splits words at `:`, `=` and `@`, which ctl uses inside of words: join what the line does not separate.
    local -a words=()
    local rest=${COMP_LINE:0:COMP_POINT} count=0 word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        # The last word counts up to the cursor only.
        if ((i == COMP_CWORD)); then word=${rest#"${rest%%[![:space:]]*}"}; fi
        if ((count > 0)) && [[ $rest != [[:space:]]* ]]; then
            words[count - 1]+=$word
        else
            words[count++]=$word
        fi
        rest=${rest#*"$word"}
    done

    local IFS=$'\013' current=${words[count - 1]} quoted
    # Not as `COMPREPLY=($(…))`: a range such as n[1-3] is a pattern to the shell, and could match a file.
    IFS=$IFS read -r -d '' -a COMPREPLY < <(
        CTL_COMPLETE=bash _CLAP_IFS="$IFS" _CLAP_COMPLETE_INDEX=$((count - 1)) ctl -- "${words[@]}" 2>/dev/null
    )
    # bash replaces only its own last part of the word ($2), so the candidates lose what stands before it.
    local before=${current%"$2"}
    if [[ -n $before ]]; then COMPREPLY=("${COMPREPLY[@]#"$before"}"); fi
    # File names may hold what the shell would split; inside of quotes they are right as they are.
    if [[ $current != [\'\"]* ]]; then
        for i in "${!COMPREPLY[@]}"; do
            # What is typed already is as its user wants it.
            if [[ ${COMPREPLY[i]} == "$2"* && ${COMPREPLY[i]#"$2"} == *[[:space:]\\\'\"\$\`\;\&\|\<\>\(\)]* ]]; then
                printf -v quoted %q "${COMPREPLY[i]#"$2"}"
                COMPREPLY[i]=$2$quoted
            fi
        done
    fi
    # More follows after a directory.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then compopt -o nospace 2>/dev/null; fi
}
# Without nosort (bash before 4.4), bash sorts the candidates itself.
complete -o nosort -F _ctl ctl 2>/dev/null || complete -F _ctl ctl
