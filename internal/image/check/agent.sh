#!/bin/sh
# Karri's small agent, for systems without cloud-init: at each start it makes missing SSH host keys, lets the launch's
# key in, and sets the host name; a launch's user data, if it is a script, runs once an instance.
url=http://169.254.169.254/latest
state=/var/lib/karri-agent

fetch() { # fetch METHOD PATH [HEADER]
	if command -v curl >/dev/null 2>&1; then
		curl -sf -m 10 -X "$1" ${3:+-H "$3"} "$url/$2"
	elif command -v wget >/dev/null 2>&1; then
		wget -q -T 10 -t 1 -O - --method="$1" ${3:+--header="$3"} "$url/$2"
	elif command -v python3 >/dev/null 2>&1; then
		python3 -c 'import sys, urllib.request as u
h = dict([sys.argv[3].split(": ", 1)]) if len(sys.argv) > 3 else {}
sys.stdout.buffer.write(u.urlopen(u.Request(sys.argv[2], method=sys.argv[1], headers=h), timeout=10).read())' "$1" "$url/$2" ${3:+"$3"}
	else
		return 1
	fi
}

if ! ls /etc/ssh/ssh_host_*_key >/dev/null 2>&1 && command -v ssh-keygen >/dev/null 2>&1; then
	ssh-keygen -A
	for s in ssh sshd; do
		systemctl try-restart --no-block "$s" 2>/dev/null
	done
fi

token=
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
	token=$(fetch PUT api/token "X-aws-ec2-metadata-token-ttl-seconds: 300") && break
	sleep 2
done
[ -n "$token" ] || { echo "karri-agent: the metadata service does not answer"; exit 1; }
get() { fetch GET "$1" "X-aws-ec2-metadata-token: $token"; }

id=$(get meta-data/instance-id)
key=$(get meta-data/public-keys/0/openssh-key)
if [ -n "$key" ]; then
	# root, and those who can log in: users from 1000 on with a home.
	awk -F: '$3 == 0 || ($3 >= 1000 && $3 < 60000 && $7 !~ /(nologin|false)$/) { print $1, $3, $4, $6 }' /etc/passwd |
		while read -r user uid gid home; do
			[ -d "$home" ] || continue
			mkdir -p "$home/.ssh"
			grep -qxF "$key" "$home/.ssh/authorized_keys" 2>/dev/null || echo "$key" >>"$home/.ssh/authorized_keys"
			chmod 700 "$home/.ssh"
			chmod 600 "$home/.ssh/authorized_keys"
			chown -R "$uid:$gid" "$home/.ssh"
			command -v restorecon >/dev/null 2>&1 && restorecon -R "$home/.ssh"
		done
fi
name=$(get meta-data/local-hostname)
[ -n "$name" ] && { hostname "$name"; echo "$name" >/etc/hostname; }

mkdir -p "$state"
if [ -n "$id" ] && [ "$id" != "$(cat "$state/instance-id" 2>/dev/null)" ]; then
	get user-data >"$state/user-data" || rm -f "$state/user-data"
	echo "$id" >"$state/instance-id"
	if [ -f "$state/user-data" ] && [ "$(head -c 2 "$state/user-data")" = "#!" ]; then
		chmod 700 "$state/user-data"
		"$state/user-data"
	fi
fi
echo "karri-agent: done for $id"
