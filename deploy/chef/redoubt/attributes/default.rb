# The text of deployment.yaml, the one source of all that follows. Required.
default['redoubt']['deployment'] = nil

# Which of the deployment's hosts this is, and its name in its certificate if that
# entry is a group. Empty: the host's own name.
default['redoubt']['host'] = nil
default['redoubt']['certname'] = nil

# A .deb on this host; empty: the package "redoubt" of a repository of yours.
default['redoubt']['package_source'] = nil
default['redoubt']['engine_package'] = 'redis-server'

# An encrypted data bag and its item with password_digests, app_env and join_token, as
# the recipes read them. With resources of your own, take secrets from where you keep
# them.
default['redoubt']['data_bag'] = 'redoubt'
default['redoubt']['data_bag_item'] = 'secrets'

default['redoubt']['ca'] = false
default['redoubt']['deployment_name'] = nil
default['redoubt']['restart_gateway'] = false
default['redoubt']['app_env_path'] = '/etc/redoubt/app.env'
default['redoubt']['app_env_owner'] = 'root'
default['redoubt']['app_env_group'] = 'root'

# redoubt host apply: packet filter, sshd, kernel, swap; and parts that it leaves out.
default['redoubt']['lock_down'] = true
default['redoubt']['without'] = []
