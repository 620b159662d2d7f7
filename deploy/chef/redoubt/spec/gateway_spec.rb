require 'chefspec'

describe 'redoubt::gateway' do
  step_into :redoubt_gateway
  secrets = { 'password_digests' => 'sha256 of it', 'join_token' => 'a token' }

  def attributes(more = {})
    { 'host' => 'cache-1', 'deployment' => "deployment: clinic\n", 'deployment_name' => 'clinic', 'ca' => true }.merge(more)
  end

  def converged(more = {})
    ChefSpec::SoloRunner.new(step_into: ['redoubt_gateway']) { |node| node.override['redoubt'] = attributes(more) }.converge('redoubt::gateway')
  end

  before do
    stub_data_bag_item('redoubt', 'secrets').and_return(secrets)
    stub_command(/redoubt host check/).and_return(false)
    stub_command(/cmp --silent/).and_return(false)
    stub_command(/is-active redis-server/).and_return(true)
    stub_command(/redoubt gateway --check/).and_return(true)
    stub_command(/redoubt reload .* --dry-run/).and_return(true)
  end

  it 'keeps the distribution\'s Redis from starting, and makes the CA' do
    run = converged
    expect(run).to create_link('/etc/systemd/system/redis-server.service').with(to: '/dev/null')
    expect(run).to install_package('redis-server')
    expect(run).to run_execute('redoubt pki init')
    expect(run).to create_file('/etc/redoubt/password.sha256').with(content: 'sha256 of it', mode: '0600', sensitive: true)
    expect(run).to enable_service('redoubt-gateway')
    expect(run).to run_execute('redoubt host apply').with(command: '/usr/bin/redoubt host apply --no-rollback --host cache-1')
    expect(run).not_to run_execute('redoubt join cache-1')
  end

  it 'leaves the cache filled, unless told' do
    expect(converged).to run_execute('redoubt reload gateway').with(command: '/usr/bin/redoubt reload --config /etc/redoubt/gateway.yaml')
    expect(converged).not_to run_execute('restart redoubt-gateway')
    expect(converged('restart_gateway' => true)).to run_execute('restart redoubt-gateway')
  end

  it 'joins where the CA is another host\'s, and shows nobody the token' do
    run = converged('ca' => false)
    expect(run).to run_execute('redoubt join cache-1').with(input: 'a token', sensitive: true, command: '/usr/bin/redoubt join --token-file -')
  end

  { 'a part that there is not' => { 'without' => ['disks'] }, 'a host that is none' => { 'host' => 'a b; reboot' },
    'no deployment' => { 'deployment' => '' }, 'a CA of no deployment' => { 'deployment_name' => nil } }.each do |what, wrong|
    it "refuses #{what}" do
      expect { converged(wrong) }.to raise_error(Chef::Exceptions::ValidationFailed)
    end
  end
end
