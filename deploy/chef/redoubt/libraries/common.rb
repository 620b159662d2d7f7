# What redoubt_gateway and redoubt_sidecar share.
module RedoubtCookbook
  module Common
    NAME = /\A[a-z0-9][a-z0-9.-]*\z/.freeze
    PARTS = %w(kernel coredumps hibernation swap ssh firewall).freeze

    # The properties of both resources.
    def self.included(resource)
      resource.class_eval do
        property :host, String, name_property: true, regex: NAME
        property :certname, String, regex: NAME, default: lazy { host }
        property :deployment, String, required: true, callbacks: { 'must not be empty' => ->(text) { !text.strip.empty? } }
        property :package_source, [String, nil], regex: %r{\A/}
        property :join_token, [String, nil], sensitive: true
        property :lock_down, [true, false], default: true
        property :without, Array, default: [], callbacks: { "must be of #{PARTS.join(', ')}" => ->(list) { (list - PARTS).empty? } }
      end
    end
  end

  # The steps of both, in an action.
  module Steps
    def install
      source = new_resource.package_source
      if source
        dpkg_package 'redoubt' do
          source source
        end
      else
        package 'redoubt'
      end
      file '/etc/redoubt/deployment.yaml' do
        content new_resource.deployment
        owner 'root'
        group 'root'
        mode '0644'
        verify "/usr/bin/redoubt render config --deployment %{path} --host #{new_resource.host}"
      end
    end

    def configure(path)
      render = "/usr/bin/redoubt render config --host #{new_resource.host} --name #{new_resource.certname}"
      execute "redoubt render config #{path}" do
        command "#{render} --out #{path}"
        not_if "#{render} | cmp --silent - #{path}"
      end
    end

    # What a role that runs can take in of its changed configuration, it does.
    def reload(role)
      reload = "/usr/bin/redoubt reload --config /etc/redoubt/#{role}.yaml"
      execute "redoubt reload #{role}" do
        command reload
        only_if "#{reload} --dry-run | grep --quiet '^would change'"
      end
    end

    # For the rest; what would not start is not restarted. Also after a run that wasn't
    # asked to.
    def restart(role)
      execute "restart redoubt-#{role}" do
        command "systemctl restart redoubt-#{role}"
        only_if "/usr/bin/redoubt #{role} --check | grep --quiet 'has read another'"
      end
    end

    # The token goes in by standard input: others on the host could see a command.
    def join
      token = new_resource.join_token
      execute "redoubt join #{new_resource.certname}" do
        command '/usr/bin/redoubt join --token-file -'
        input token.to_s
        sensitive true
        creates '/etc/redoubt/tls/tls.pem'
      end
    end

    def lock_down
      return unless new_resource.lock_down
      flags = ["--host #{new_resource.host}", *new_resource.without.map { |part| "--without #{part}" }].join(' ')
      execute 'redoubt host apply' do
        command "/usr/bin/redoubt host apply --no-rollback #{flags}"
        not_if "/usr/bin/redoubt host check #{flags}"
      end
    end
  end
end
