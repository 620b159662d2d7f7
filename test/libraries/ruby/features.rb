# Does with a Ruby library what applications do with it; see ../libraries_test.go.
# Ends with 1 if that failed.
require 'timeout'

URL = ENV.fetch('REDIS_URL')
PATIENCE = 40

def check(what, ok) = ok || raise(what)

def redis
  require 'redis'
  Redis.new(url: URL)
end

# The worker is a process of its own, which loads this file.
def sidekiq
  require 'sidekiq'
  Sidekiq.configure_client { |c| c.redis = { url: URL } }
  Sidekiq.configure_server { |c| c.redis = { url: URL } }
  Sidekiq.options[:poll_interval_average] = 0.3
  Sidekiq.logger.level = Logger::ERROR
end

if defined?(Sidekiq::CLI)
  sidekiq
  class Work
    include Sidekiq::Worker
    sidekiq_options retry: 1
    def perform(fail_once)
      Sidekiq.redis do |r|
        raise 'on purpose' if fail_once && r.incr('tries') == 1
        r.lpush('done', '1')
      end
    end
    sidekiq_retry_in { 1 }
  end
  return
end

def sidekiq_run
  sidekiq
  ENV['RUBYOPT'] = '-W0'
  worker = spawn('sidekiq', '-r', File.expand_path(__FILE__), '-c', '2', out: :err)
  yield
  check 'the job was not done', redis.brpop('done', timeout: PATIENCE)
ensure
  Process.kill('TERM', worker)
  Process.wait(worker)
end

def push(extra = {}, fail_once = false)
  Sidekiq::Client.push({ 'class' => 'Work', 'args' => [fail_once], 'retry' => 1 }.merge(extra))
end

def sidekiq_web
  sidekiq
  require 'sidekiq/api'
  push
  check 'stats', Sidekiq::Stats.new.enqueued == 1
  check 'queue', Sidekiq::Queue.new.map(&:klass) == ['Work']
  Sidekiq::Queue.new.clear
  Sidekiq::ProcessSet.new.to_a
  Sidekiq.redis_info
end

def rails(**options)
  require 'active_support'
  require 'active_support/cache'
  require 'active_support/cache/redis_cache_store'
  require 'active_support/notifications'
  ActiveSupport::Cache::RedisCacheStore.new(url: URL, **options)
end

def cable
  require 'active_support/all'
  require 'action_cable'
  require 'action_cable/subscription_adapter/redis'
  config = ActionCable::Server::Configuration.new
  config.cable = { 'adapter' => 'redis', 'url' => URL }
  config.logger = Logger.new(IO::NULL)
  adapter = ActionCable::Server::Base.new(config: config).pubsub
  ready, got = Queue.new, Queue.new
  adapter.subscribe('c', ->(m) { got << m }, -> { ready << true })
  Timeout.timeout(PATIENCE) { ready.pop }
  adapter.broadcast('c', 'hello')
  check 'another message', Timeout.timeout(PATIENCE) { got.pop } == 'hello'
  adapter.shutdown
end

FEATURES = {
  'sidekiq jobs' => -> { sidekiq_run { push } },
  'sidekiq scheduled jobs' => -> { sidekiq_run { push('at' => Time.now.to_f + 1) } },
  'sidekiq retries' => -> { sidekiq_run { push({}, true) } },
  'sidekiq web' => -> { sidekiq_web },
  'rails cache' => lambda {
    c = rails
    c.write('k', 'v', expires_in: 60)
    check 'read', c.read('k') == 'v'
    check 'unless_exist', !c.write('k', 'w', unless_exist: true)
    check 'fetch', c.fetch('f') { 1 } == 1
    c.write_multi({ 'a' => 1, 'b' => 2 }, expires_in: 60)
    check 'read_multi', c.read_multi('a', 'b') == { 'a' => 1, 'b' => 2 }
    check 'delete', c.delete('k')
    c.delete_multi(%w[a b])
  },
  'rails increment' => -> { check 'increment', rails.increment('n', 2, expires_in: 60) == 2 },
  'rails clear' => lambda {
    rails.write('k', 'v')
    rails.clear
    check 'it is still there', rails.read('k').nil?
  },
  'rails clear with a namespace' => lambda {
    c = rails(namespace: 'n')
    c.write('k', 'v')
    c.clear
    check 'it is still there', c.read('k').nil?
  },
  'rails delete_matched' => lambda {
    rails.write('k1', 'v')
    rails.delete_matched('k*')
    check 'it is still there', rails.read('k1').nil?
  },
  'action-cable messages' => -> { cable },
  'redis-rb cache' => lambda {
    redis.set('k', 'v', ex: 60)
    check 'get', redis.get('k') == 'v'
    check 'multi', redis.multi { |m| m.get('k'); m.del('k') } == ['v', 1]
  },
}.freeze

begin
  FEATURES.fetch(ARGV[0]).call
rescue StandardError => e
  warn e.message
  exit! 1
end
exit! 0
