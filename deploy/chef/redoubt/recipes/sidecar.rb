secrets = data_bag_item(node['redoubt']['data_bag'], node['redoubt']['data_bag_item'])

redoubt_sidecar node['redoubt']['host'] || node['hostname'] do
  certname node['redoubt']['certname'] if node['redoubt']['certname']
  deployment node['redoubt']['deployment']
  package_source node['redoubt']['package_source']
  app_env secrets['app_env']
  app_env_path node['redoubt']['app_env_path']
  app_env_owner node['redoubt']['app_env_owner']
  app_env_group node['redoubt']['app_env_group']
  join_token secrets['join_token']
  lock_down node['redoubt']['lock_down']
  without node['redoubt']['without'].to_a
end
