# @summary A cache host: the engine, locked down, and the tunnel's end before it.
#
# @example
#   class { 'redoubt': deployment => file('clinic/deployment.yaml') }
#   class { 'redoubt::gateway':
#     ca               => true,
#     deployment_name  => 'clinic',
#     password_digests => Sensitive(lookup('redoubt_password_digests')),
#   }
#
# @param password_digests
#   password.sha256, as redoubt secret new wrote it.
# @param ca
#   The deployment's CA lies here, and is made if there is none. Another cache host
#   needs a join_token.
# @param deployment_name
#   The deployment's name, for a CA that is made.
# @param join_token
#   From redoubt token create --role gateway, for a host that hasn't joined yet.
# @param engine_package
#   The distribution's package of the engine. Its own service is kept from starting.
# @param restart
#   Restart the gateway when its configuration changes in what only a restart takes in,
#   which empties the cache.
class redoubt::gateway (
  Redoubt::Secret $password_digests,
  Boolean $ca = false,
  Optional[String[1]] $deployment_name = undef,
  Optional[Redoubt::Secret] $join_token = undef,
  String[1] $engine_package = 'redis-server',
  Boolean $restart = false,
) {
  include redoubt

  # Debian starts a Redis of its own, without a password, when the package comes.
  file { "/etc/systemd/system/${engine_package}.service":
    ensure => link,
    target => '/dev/null',
  }
  -> package { $engine_package:
    ensure => installed,
  }
  -> exec { "stop ${engine_package}":
    command => "/usr/bin/systemctl stop ${engine_package}.service",
    onlyif  => "/usr/bin/systemctl --quiet is-active ${engine_package}.service",
    before  => Service['redoubt-gateway'],
  }

  if $ca {
    unless $deployment_name {
      fail('redoubt::gateway: ca is true, so deployment_name must say whose CA is to be made')
    }
    exec { 'redoubt pki init':
      command => "/usr/bin/redoubt pki init --seal --deployment ${deployment_name} --dir /etc/redoubt/ca",
      creates => '/etc/redoubt/ca/ca.crt',
      require => Package['redoubt'],
      before  => Service['redoubt-gateway'],
    }
  } else {
    redoubt::identity { $redoubt::certname:
      join_token => $join_token,
      before     => Service['redoubt-gateway'],
    }
  }

  redoubt::config { '/etc/redoubt/gateway.yaml':
    before => Service['redoubt-gateway'],
  }

  file { '/etc/redoubt/password.sha256':
    ensure    => file,
    owner     => 'root',
    group     => 'root',
    mode      => '0600',
    content   => $password_digests,
    show_diff => false,
    require   => Package['redoubt'],
    before    => Service['redoubt-gateway'],
  }

  service { 'redoubt-gateway':
    ensure => running,
    enable => true,
  }

  redoubt::reload { 'gateway':
    require => Service['redoubt-gateway'],
  }

  if $restart {
    # What would not start is not restarted; also after a run that wasn't asked to.
    exec { 'restart redoubt-gateway':
      command => '/usr/bin/systemctl restart redoubt-gateway',
      onlyif  => "/usr/bin/redoubt gateway --check | grep --quiet 'has read another'",
      path    => ['/usr/bin', '/bin'],
      require => Redoubt::Reload['gateway'],
    }
  }
  if $redoubt::lock_down {
    Service['redoubt-gateway'] -> Exec['redoubt host apply']
  }
}
