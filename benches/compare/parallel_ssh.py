"""A command on many nodes with the parallel-ssh library: parallel_ssh.py HOSTS KEY PORT FORKS COMMAND."""

import sys

from pssh.clients import ParallelSSHClient

hosts, key, port, forks, command = sys.argv[1:]
with open(hosts, encoding="ascii") as listed:
    client = ParallelSSHClient(listed.read().split(), user="root", port=int(port), pkey=key, pool_size=int(forks),
                               allow_agent=False)
output = client.run_command(command)
client.join(output)
for host in output:
    for line in host.stdout:
        print(host.host, line)
sys.exit(max(host.exit_code for host in output))
