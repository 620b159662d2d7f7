# @summary An application host: a Redis on 127.0.0.1:6379 that is the tunnel's beginning.
#
# @example
#   class { 'redoubt': deployment => file('clinic/deployment.yaml') }
#   class { 'redoubt::sidecar':
#     join_token => Sensitive(lookup('redoubt_join_token')),
#     app_env    => Sensitive(lookup('redoubt_app_env')),
#   }
#
# @param join_token
#   From redoubt token create, for a host that hasn't joined yet; good once, for an hour
#   if not made otherwise.
# @param app_env
#   app.env, as redoubt secret new wrote it, for the application to read.
# @param app_env_path
#   Where the application reads it.
# @param app_env_owner
#   The application's user.
# @param app_env_group
#   The application's group.
class redoubt::sidecar (
  Optional[Redoubt::Secret] $join_token = undef,
  Optional[Redoubt::Secret] $app_env = undef,
  Pattern[/\A\//] $app_env_path = '/etc/redoubt/app.env',
  String[1] $app_env_owner = 'root',
  String[1] $app_env_group = 'root',
) {
  include redoubt

  redoubt::config { '/etc/redoubt/sidecar.yaml': }
  -> redoubt::identity { $redoubt::certname:
    join_token => $join_token,
  }
  -> service { ['redoubt-sidecar.socket', 'redoubt-sidecar.service']:
    ensure => running,
    enable => true,
  }
  -> redoubt::reload { 'sidecar': }
  # What would not start is not restarted; applications wait meanwhile.
  -> exec { 'restart redoubt-sidecar':
    command => '/usr/bin/systemctl restart redoubt-sidecar.service',
    onlyif  => "/usr/bin/redoubt sidecar --check | grep --quiet 'has read another'",
    path    => ['/usr/bin', '/bin'],
  }

  if $app_env {
    file { $app_env_path:
      ensure    => file,
      owner     => $app_env_owner,
      group     => $app_env_group,
      mode      => '0600',
      content   => $app_env,
      show_diff => false,
      require   => Package['redoubt'],
    }
  }
  if $redoubt::lock_down {
    Service['redoubt-sidecar.service'] -> Exec['redoubt host apply']
  }
}
