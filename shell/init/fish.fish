# mtr in fish, 3.1 and newer: functions and completion. Evaluated behind lists of names: see bash.bash.

function _mtr_run
    command $_mtr_program $argv
end

function _mtr_complete
    # The words of this command up to the cursor, without quotes, then the unfinished one.
    set -l words (commandline -opc)
    set -l current (commandline -ct | string unescape 2>/dev/null; or commandline -ct)
    set -l lines (_mtr_run shell-init --complete fish $words "$current" </dev/null 2>/dev/null)
    switch "$lines[1]"
        case files
            set -l front (string match -r -- '^--[^=]*=' "$current")
            __fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current") | string replace -r -- '^' "$front"
        case dirs
            __fish_complete_directories "$current" ''
        case names paths
            set -e lines[1]
            printf '%s\n' $lines
    end
end

for _mtr_name in $_mtr_commands $_mtr_short mtr-$_mtr_servers
    complete -c $_mtr_name -e
    complete -c $_mtr_name -f -a '(_mtr_complete)'
end
for _mtr_name in $_mtr_servers
    function mtr-$_mtr_name --inherit-variable _mtr_name
        _mtr_run -s $_mtr_name $argv
    end
end
for _mtr_name in $_mtr_aliases
    if not type -q -- $_mtr_name
        function $_mtr_name --inherit-variable _mtr_name
            _mtr_run $_mtr_name $argv
        end
    end
end
for _mtr_name in $_mtr_short
    function $_mtr_name
        _mtr_run $argv
    end
end
set -e _mtr_name
