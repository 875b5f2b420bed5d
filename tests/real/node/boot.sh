#!/bin/bash
# Pid 1 of a test node: builds the node's private file system, starts its services, and then only reaps children until
# its standard input ends, which ends every process of the node. It runs in its own mount, pid and network namespaces,
# so nothing here reaches the machine. bash and not sh: as pid 1 it must reap daemons that are not its children, or a
# dead supervisord stays a zombie that `kill -0` still finds.
#
# $1: the staged tree, with the files that this node has in addition to the machine's own programs.
set -eu
stage=$1

mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/sshd /run/lock /run/stage /run/etc /run/home
cp -a "$stage"/. /run/stage/
# From here on the machine's /tmp, where the staged tree may be, is hidden.
mount -t tmpfs -o mode=1777 tmpfs /tmp
# A private /var with the machine's directories in it: each node has its own /var/crashes.
mkdir -p /run/var/crashes
for path in /var/*; do
    if [ -L "$path" ]; then
        cp -a "$path" /run/var/
    elif [ -d "$path" ]; then
        mkdir -p "/run$path"
        mount --bind "$path" "/run$path"
    fi
done
mount --rbind /run/var /var
mount -t tmpfs -o mode=0755 tmpfs /var/log
mkdir -p /var/log/contrail

# A private /etc: the files that libc, PAM, sudo, sshd and Python read there, and the staged files.
for path in /etc/{alternatives,default,environment,group,host.conf,hosts,ld.so.cache,ld.so.conf,ld.so.conf.d} \
    /etc/{localtime,login.defs,pam.conf,pam.d,profile,python3*,security,services,shells,ssl,sudo*.conf}; do
    if [ -e "$path" ]; then cp -a "$path" /run/etc/; fi
done
mkdir -p /run/etc/ssh /run/etc/init.d
if [ -e /etc/ssh/moduli ]; then cp -a /etc/ssh/moduli /run/etc/ssh/; fi
sed -e 's|^\(root:[^:]*:0:0:[^:]*\):.*|\1:/run/home/root:/bin/bash|' /etc/passwd >/run/etc/passwd
cp -a /run/stage/etc/. /run/etc/
chown -R root:root /run/etc
printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n' >/run/etc/nsswitch.conf
printf '127.0.0.1 localhost\n' >/run/etc/hosts
: >/run/etc/shadow
chmod 0600 /run/etc/shadow
mkdir -m 0700 /run/home/root
# With sudo, ctlops may run everything without a password, ctlguest and ctlalien nothing; a test's own lines decide for
# ctlpass.
uid=7701
for user in ctlops ctlguest ctlpass ctlalien; do
    printf '%s:x:%s:%s::/run/home/%s:/bin/sh\n' "$user" "$uid" "$uid" "$user" >>/run/etc/passwd
    printf '%s:x:%s:\n' "$user" "$uid" >>/run/etc/group
    mkdir -m 0700 "/run/home/$user"
    chown "$uid:$uid" "/run/home/$user"
    uid=$((uid + 1))
done
# "*" matches no password but, unlike "!", does not lock the account: keys must work.
sed -e 's|^\([^:]*\):.*|\1:*:19000:0:99999:7:::|' /run/etc/passwd >>/run/etc/shadow
# These two have the password that tests/real/sudo.rs types.
hash='$6$ctlreal$tMWLECi5lO.hI1qEA/v.KJuo9Ayc.OtbWmBQKGu8L6U6FRWATQqed8y84VUBcyJfQRgzQ6orTUFjGEgwge12l0'
sed -i -E -e "s#^(ctlpass|ctlalien):[*]:#\1:$hash:#" /run/etc/shadow
printf 'Defaults env_reset\nDefaults secure_path="%s"\nroot ALL=(ALL:ALL) ALL\nctlops ALL=(ALL:ALL) NOPASSWD: ALL\n' \
    /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin >/run/etc/sudoers
cat /run/etc/sudoers.extra >>/run/etc/sudoers
chmod 0440 /run/etc/sudoers
mount --bind /run/etc /etc

ip link set lo up

for script in /run/stage/boot.d/*; do
    if [ -e "$script" ]; then "$script" </dev/null >>/var/log/boot.log 2>&1; fi
done

echo ready
while read -r _; do :; done
