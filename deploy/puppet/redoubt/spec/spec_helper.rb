require 'rspec-puppet'

RSpec.configure do |c|
  # The module is found beside others, wherever it lies; nothing is linked.
  c.setup_fixtures = false
  c.module_path = File.expand_path('../..', __dir__)
  c.default_facts = {
    'networking' => { 'hostname' => 'cache-1' },
    'os' => { 'family' => 'Debian', 'name' => 'Debian', 'release' => { 'major' => '12' } },
  }
end
