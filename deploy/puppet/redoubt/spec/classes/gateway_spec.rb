require 'spec_helper'

describe 'redoubt::gateway' do
  let(:pre_condition) { "class { 'redoubt': deployment => 'deployment: clinic' }" }
  let(:digests) { RSpec::Puppet::Sensitive.new('sha256 of it') }
  let(:params) { { password_digests: digests, ca: true, deployment_name: 'clinic' } }

  it { is_expected.to compile.with_all_deps }
  it { is_expected.to contain_exec('redoubt pki init').with_creates('/etc/redoubt/ca/ca.crt') }
  it { is_expected.to contain_file('/etc/systemd/system/redis-server.service').with_target('/dev/null').that_comes_before('Package[redis-server]') }
  it { is_expected.to contain_file('/etc/redoubt/password.sha256').with_mode('0600').with_show_diff(false) }
  it { is_expected.to contain_service('redoubt-gateway').that_comes_before('Exec[redoubt host apply]') }
  it { is_expected.to contain_exec('redoubt reload gateway').with_onlyif(%r{--dry-run}).that_requires('Service[redoubt-gateway]') }
  it { is_expected.not_to contain_exec('restart redoubt-gateway') }

  context 'that may empty its cache' do
    let(:params) { super().merge(restart: true) }

    it { is_expected.to contain_exec('restart redoubt-gateway').with_onlyif(%r{redoubt gateway --check}).that_requires('Exec[redoubt reload gateway]') }
  end

  context 'beside the one with the CA' do
    let(:params) { { password_digests: digests, join_token: RSpec::Puppet::Sensitive.new('a token') } }

    it { is_expected.not_to contain_exec('redoubt pki init') }
    it { is_expected.to contain_exec('redoubt join cache-1').with_command('/usr/bin/redoubt join --token-file /etc/redoubt/join-token') }
    it { is_expected.to contain_file('/etc/redoubt/join-token').with_mode('0600').that_comes_before('Exec[redoubt join cache-1]') }
  end

  context 'with a CA of no deployment' do
    let(:params) { { password_digests: digests, ca: true } }

    it { is_expected.to compile.and_raise_error(%r{deployment_name must say whose CA}) }
  end

  context 'with a password that anybody sees' do
    let(:params) { { password_digests: 'sha256 of it' } }

    it { is_expected.to compile.and_raise_error(%r{Sensitive}) }
  end
end
