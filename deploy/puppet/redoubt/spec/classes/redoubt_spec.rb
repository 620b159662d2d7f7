require 'spec_helper'

describe 'redoubt' do
  let(:params) { { deployment: "deployment: clinic\n" } }

  it { is_expected.to compile.with_all_deps }
  it { is_expected.to contain_package('redoubt').without_source }
  it {
    is_expected.to contain_file('/etc/redoubt/deployment.yaml')
      .with_content("deployment: clinic\n").with_mode('0644')
      .with_validate_cmd('/usr/bin/redoubt render config --deployment % --host cache-1')
      .that_requires('Package[redoubt]')
  }
  it { is_expected.to contain_exec('redoubt host apply').with_unless('/usr/bin/redoubt host check --host cache-1') }

  context 'with parts left out' do
    let(:params) { super().merge(without: ['swap', 'ssh']) }

    it {
      is_expected.to contain_exec('redoubt host apply')
        .with_command('/usr/bin/redoubt host apply --no-rollback --host cache-1 --without swap --without ssh')
    }
  end

  context 'with the host left as it is' do
    let(:params) { super().merge(lock_down: false) }

    it { is_expected.not_to contain_exec('redoubt host apply') }
  end

  { 'a part that there is not' => { without: ['disks'] }, 'a host that is none' => { host: 'a b; reboot' },
    'no deployment' => { deployment: '' }, 'a package that is no file' => { package_source: 'redoubt.deb' } }.each do |what, wrong|
    context "with #{what}" do
      let(:params) { super().merge(wrong) }

      it { is_expected.to compile.and_raise_error(%r{expects|parameter}) }
    end
  end
end
