from fabric.api import env
host1 = "root@10.1.1.1"
host2 = 'root@10.1.1.2:2222'
ext_routers = [("mx1", "10.2.2.2")]
env.roledefs = {
  "all": [host1, host2],
  "cfgm": [host1], "compute": [host2],
}
env.hostnames = {"all": ["a1", "a2"]}
env.password = "secret"
env.passwords = {host1: "s", host2: "t"}
env.key_filename = "/root/.ssh/id"
