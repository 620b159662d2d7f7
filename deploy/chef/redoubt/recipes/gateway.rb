secrets = data_bag_item(node['redoubt']['data_bag'], node['redoubt']['data_bag_item'])

redoubt_gateway node['redoubt']['host'] || node['hostname'] do
  certname node['redoubt']['certname'] if node['redoubt']['certname']
  deployment node['redoubt']['deployment']
  deployment_name node['redoubt']['deployment_name']
  package_source node['redoubt']['package_source']
  engine_package node['redoubt']['engine_package']
  password_digests secrets['password_digests']
  join_token secrets['join_token']
  ca node['redoubt']['ca']
  restart node['redoubt']['restart_gateway']
  lock_down node['redoubt']['lock_down']
  without node['redoubt']['without'].to_a
end
