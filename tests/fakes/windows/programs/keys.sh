# sshd asks this twice at each log-in: 2 ms when nothing changed, 15 ms when Python has to look.
folder=$1
python=$2
programs=$3
shift 3
if [ -r "$folder/keys.known" ]; then
    . "$folder/keys.known"
    if [ "$mark" = "$(stat -c '%i %s %.9Z' "$folder/state.json" "$folder/acl.json" "$@" 2>/dev/null)" ]; then
        printf %s "$lines"
        exit 0
    fi
fi
exec "$python" -I -S "$programs/start.py" keys "$folder" "$@"
