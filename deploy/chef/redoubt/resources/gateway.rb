# A cache host: the engine, locked down, and the tunnel's end before it.
provides :redoubt_gateway
resource_name :redoubt_gateway
unified_mode true

include RedoubtCookbook::Common

# password.sha256, as redoubt secret new wrote it.
property :password_digests, String, required: true, sensitive: true
# The deployment's CA lies here, and is made if there is none.
property :ca, [true, false], default: false
# The deployment's name, for a CA that is made.
property :deployment_name, [String, nil]
property :engine_package, String, default: 'redis-server'
# Restart the gateway when its configuration changes in what only a restart takes in,
# which empties the cache.
property :restart, [true, false], default: false

action :create do
  extend RedoubtCookbook::Steps
  raise Chef::Exceptions::ValidationFailed, 'redoubt_gateway: ca is true, so deployment_name must say whose CA is to be made' if new_resource.ca && !new_resource.deployment_name

  install

  # Debian starts a Redis of its own, without a password, when the package comes.
  link "/etc/systemd/system/#{new_resource.engine_package}.service" do
    to '/dev/null'
  end
  package new_resource.engine_package
  execute "stop #{new_resource.engine_package}" do
    command "systemctl stop #{new_resource.engine_package}.service"
    only_if "systemctl --quiet is-active #{new_resource.engine_package}.service"
  end

  if new_resource.ca
    execute 'redoubt pki init' do
      command "/usr/bin/redoubt pki init --seal --deployment #{new_resource.deployment_name} --dir /etc/redoubt/ca"
      creates '/etc/redoubt/ca/ca.crt'
    end
  end

  configure('/etc/redoubt/gateway.yaml')
  file '/etc/redoubt/password.sha256' do
    content new_resource.password_digests
    owner 'root'
    group 'root'
    mode '0600'
    sensitive true
  end
  join unless new_resource.ca

  service 'redoubt-gateway' do
    action [:enable, :start]
  end
  reload('gateway')
  restart('gateway') if new_resource.restart
  lock_down
end
