# An application host: a Redis on 127.0.0.1:6379 that is the tunnel's beginning.
provides :redoubt_sidecar
resource_name :redoubt_sidecar
unified_mode true

include RedoubtCookbook::Common

# app.env, as redoubt secret new wrote it, for the application to read.
property :app_env, [String, nil], sensitive: true
property :app_env_path, String, default: '/etc/redoubt/app.env', regex: %r{\A/}
property :app_env_owner, String, default: 'root'
property :app_env_group, String, default: 'root'

action :create do
  extend RedoubtCookbook::Steps

  install
  configure('/etc/redoubt/sidecar.yaml')
  if new_resource.app_env
    file new_resource.app_env_path do
      content new_resource.app_env
      owner new_resource.app_env_owner
      group new_resource.app_env_group
      mode '0600'
      sensitive true
    end
  end
  join

  %w(redoubt-sidecar.socket redoubt-sidecar.service).each do |unit|
    service unit do
      action [:enable, :start]
    end
  end
  reload('sidecar')
  restart('sidecar')
  lock_down
end
