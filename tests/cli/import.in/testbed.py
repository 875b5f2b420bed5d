from fabric.api import env

host1 = 'root@10.84.0.11'
host2 = 'root@10.84.0.12'
host3 = 'root@10.84.0.13'

env.roledefs = {
    'all': [host1, host2, host3],
    'cfgm': [host1],
    'collector': [host1, host2],
    'compute': [host3],
}
env.hostnames = {host1: 'a6s01', host2: 'a6s02', host3: 'c001'}
env.passwords = {host1: 'c0ntrail123', host2: 'c0ntrail123', host3: 'c0ntrail123'}
if len(env.roledefs['all']) > 2:
    multi_tenancy = True
