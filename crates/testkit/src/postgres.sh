# Makes a Postgres cluster, runs it, and stops it when nobody uses it any more.
#
#   postgres.sh PROGRAMS HOME FOLDER PORT
#
# Every process that uses the cluster holds a shared lock on HOME/users, and comes in under a lock on HOME/lock.

set -eu
programs=$1 home=$2 folder=$3 port=$4
# How many seconds in a row nobody uses it before it goes.
idle_s=20

"$programs/initdb" --pgdata "$folder/data" --auth trust --username postgres --encoding UTF8 --locale C \
  --no-sync --no-instructions

# Nothing in it has to survive anything.
"$programs/postgres" -D "$folder/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
  -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=500 &
server=$!

exec 8<"$home/users" 9<"$home/lock"
idle=0
while kill -0 "$server" 2>/dev/null; do
  sleep 1 8<&- 9<&-
  if flock --nonblock --exclusive 8; then
    flock --unlock 8
    idle=$((idle + 1))
  else
    idle=0
  fi
  if [ "$idle" -ge "$idle_s" ]; then
    # From here on nobody comes in; who came in just now is seen.
    flock --exclusive 9
    if flock --nonblock --exclusive 8; then
      kill -INT "$server"
      wait "$server" || true
      rm -rf "$folder/port" "$folder/data"
      exit
    fi
    flock --unlock 9
    idle=0
  fi
done
