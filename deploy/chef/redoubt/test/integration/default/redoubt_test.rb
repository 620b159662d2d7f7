describe command('redoubt verify --deployment /etc/redoubt/deployment.yaml') do
  its('exit_status') { should eq 0 }
end

describe service('redoubt-gateway') do
  it { should be_enabled }
  it { should be_running }
end

describe service('redis-server') do
  it { should_not be_running }
end
