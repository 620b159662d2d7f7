# @summary What cache hosts and application hosts share: the package, the deployment's
#   hosts, and a host that is locked down. Include redoubt::gateway or redoubt::sidecar,
#   which need it.
#
# @param deployment
#   The text of deployment.yaml, the one source of all that follows: file() or template()
#   of yours. The package's docs/configuration.md has its keys.
# @param host
#   Which of the deployment's hosts this is.
# @param certname
#   Its name in its certificate, where `host` is a group's.
# @param package_source
#   A package file on this host; without it the package comes from a repository of yours.
# @param lock_down
#   Run redoubt host apply: packet filter, sshd, kernel, swap. It doesn't wait to be
#   confirmed: see to it that people can log in from a bastion with a key.
# @param without
#   Parts that it leaves out.
class redoubt (
  String[1] $deployment,
  Pattern[/\A[a-z0-9][a-z0-9.-]*\z/] $host = $facts['networking']['hostname'],
  Pattern[/\A[a-z0-9][a-z0-9.-]*\z/] $certname = $host,
  Optional[Pattern[/\A\//]] $package_source = undef,
  Boolean $lock_down = true,
  Array[Enum['kernel', 'coredumps', 'hibernation', 'swap', 'ssh', 'firewall']] $without = [],
) {
  if $package_source {
    $provider = $facts['os']['family'] ? {
      'RedHat' => 'rpm',
      default  => 'dpkg',
    }
    package { 'redoubt':
      ensure   => installed,
      provider => $provider,
      source   => $package_source,
    }
  } else {
    package { 'redoubt':
      ensure => installed,
    }
  }

  file { '/etc/redoubt/deployment.yaml':
    ensure       => file,
    owner        => 'root',
    group        => 'root',
    mode         => '0644',
    content      => $deployment,
    validate_cmd => "/usr/bin/redoubt render config --deployment % --host ${host}",
    require      => Package['redoubt'],
  }

  if $lock_down {
    $flags = join(["--host ${host}"] + $without.map |$part| { "--without ${part}" }, ' ')

    # The last thing on the host, when what it serves is there.
    exec { 'redoubt host apply':
      command => "/usr/bin/redoubt host apply --no-rollback ${flags}",
      unless  => "/usr/bin/redoubt host check ${flags}",
      path    => ['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
      require => File['/etc/redoubt/deployment.yaml'],
    }
  }
}
