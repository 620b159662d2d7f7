require 'spec_helper'

describe 'redoubt::sidecar' do
  let(:pre_condition) { "class { 'redoubt': deployment => 'deployment: clinic', host => 'workers', certname => 'worker-7' }" }
  let(:params) do
    { join_token: RSpec::Puppet::Sensitive.new('a token'), app_env: RSpec::Puppet::Sensitive.new('REDIS_URL=x'),
      app_env_path: '/srv/app/app.env', app_env_owner: 'app' }
  end

  it { is_expected.to compile.with_all_deps }
  it {
    is_expected.to contain_exec('redoubt render config /etc/redoubt/sidecar.yaml')
      .with_command('/usr/bin/redoubt render config --host workers --name worker-7 --out /etc/redoubt/sidecar.yaml')
  }
  it { is_expected.to contain_redoubt__config('/etc/redoubt/sidecar.yaml').that_comes_before('Service[redoubt-sidecar.service]') }
  it { is_expected.to contain_exec('redoubt reload sidecar').with_onlyif(%r{--dry-run}).that_requires('Service[redoubt-sidecar.service]') }
  it { is_expected.to contain_exec('restart redoubt-sidecar').with_onlyif(%r{redoubt sidecar --check}).that_requires('Exec[redoubt reload sidecar]') }
  it { is_expected.to contain_service('redoubt-sidecar.socket').with_enable(true).that_requires('Exec[redoubt join worker-7]') }
  it { is_expected.to contain_file('/srv/app/app.env').with_owner('app').with_mode('0600') }

  context 'on a host that has joined' do
    let(:params) { {} }

    it { is_expected.to compile.with_all_deps }
    it { is_expected.not_to contain_file('/etc/redoubt/join-token') }
  end
end
