# Holds a connection of a Ruby library in a state; see ../comeback_test.go.
$stdout.sync = true
URL, KEY = ENV.fetch('REDIS_URL'), ENV.fetch('KEY')

def say(text) = puts(text.tr("\n", ' '))

def attempt
  yield
  say 'ok'
  true
rescue StandardError => e
  say "err #{e.class}: #{e.message}"
  false
end

def next_line = $stdin.gets || exit!(0)

def on_lines(&do_it)
  loop do
    next_line
    attempt(&do_it)
  end
end

def for_ever(&do_it)
  loop { attempt(&do_it) || sleep(0.1) }
end

def redis
  require 'redis'
  Redis.new(url: URL)
end

def sidekiq
  require 'sidekiq'
  Sidekiq.configure_client { |c| c.redis = { url: URL } }
  Sidekiq.configure_server { |c| c.redis = { url: URL } }
  Sidekiq.logger.level = Logger::FATAL
end

if defined?(Sidekiq::CLI) # the worker, which loads this file
  sidekiq
  class Work
    include Sidekiq::Worker
    def perform = say('ok')
  end
  return
end

STATES = {
  'redis-rb command' => lambda {
    r = redis
    on_lines do
      r.set(KEY, 'v')
      r.get(KEY)
    end
  },
  'redis-rb blocked' => lambda {
    r = redis
    for_ever { r.blpop(KEY, timeout: 0) }
  },
  'redis-rb subscribed' => lambda {
    r = redis
    for_ever { r.subscribe(KEY) { |on| on.message { say 'ok' } } }
  },
  'redis-rb transaction' => lambda {
    r = redis
    on_lines do
      r.watch(KEY) do
        r.get(KEY)
        say 'watched'
        next_line
        r.multi { |m| m.set(KEY, 'v') } || raise('the transaction was not run')
      end
    end
  },
  'sidekiq command' => lambda { # its client's pool
    sidekiq
    on_lines do
      Sidekiq.redis do |r|
        r.set(KEY, 'v')
        r.get(KEY)
      end
    end
  },
  'sidekiq worker' => lambda {
    sidekiq
    worker = spawn({ 'RUBYOPT' => '-W0' }, 'sidekiq', '-r', File.expand_path(__FILE__), '-c', '2', '-q', KEY, '-t', '1', in: File::NULL, err: File::NULL)
    at_exit { Process.kill('KILL', worker) }
    Thread.new do
      Process.wait(worker)
      say 'ended'
    end
    while $stdin.gets
      begin
        pool = ConnectionPool.new(size: 1) { redis }
        Sidekiq::Client.new(pool).push('class' => 'Work', 'args' => [], 'queue' => KEY)
        pool.shutdown(&:close)
      rescue StandardError # the worker is asked, not this
      end
    end
  },
}.freeze

STATES.fetch("#{ARGV[0]} #{ARGV[1]}").call
