require 'chefspec'

describe 'redoubt::sidecar' do
  def converged(more = {})
    ChefSpec::SoloRunner.new(step_into: ['redoubt_sidecar']) do |node|
      node.override['redoubt'] = { 'host' => 'workers', 'certname' => 'worker-7', 'deployment' => "deployment: clinic\n", 'package_source' => '/root/redoubt.deb', 'without' => %w(swap ssh) }.merge(more)
    end.converge('redoubt::sidecar')
  end

  before do
    stub_data_bag_item('redoubt', 'secrets').and_return('app_env' => 'REDIS_URL=x', 'join_token' => 'a token')
    stub_command(/redoubt host check/).and_return(false)
    stub_command(/cmp --silent/).and_return(false)
    stub_command(/redoubt reload .* --dry-run/).and_return(true)
    stub_command(/redoubt sidecar --check/).and_return(true)
  end

  it 'joins, serves, and locks the host down' do
    run = converged
    expect(run).to install_dpkg_package('redoubt').with(source: '/root/redoubt.deb')
    expect(run).to create_file('/etc/redoubt/app.env').with(mode: '0600', sensitive: true)
    expect(run).to run_execute('redoubt reload sidecar').with(command: '/usr/bin/redoubt reload --config /etc/redoubt/sidecar.yaml')
    expect(run).to run_execute('restart redoubt-sidecar')
    expect(run).to run_execute('redoubt join worker-7').with(input: 'a token', sensitive: true)
    %w(redoubt-sidecar.socket redoubt-sidecar.service).each do |unit|
      expect(run).to enable_service(unit)
      expect(run).to start_service(unit)
    end
    expect(run).to run_execute('redoubt host apply').with(command: '/usr/bin/redoubt host apply --no-rollback --host workers --without swap --without ssh')
  end

  it 'leaves a host as it is, if told' do
    expect(converged('lock_down' => false)).not_to run_execute('redoubt host apply')
  end
end
