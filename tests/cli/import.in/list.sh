#!/bin/sh
# An inventory script, as Ansible runs it.
cat <<END
{"_meta": {"hostvars": {"w1": {"ansible_host": "10.0.0.1", "ansible_user": "deploy", "ansible_password": "hunter2"}, "w2": {}}},
 "web": {"hosts": ["w1", "w2"]}, "collector": {"hosts": ["w2"]}}
END
