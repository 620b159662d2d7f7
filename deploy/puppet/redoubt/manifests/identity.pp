# @summary The host's key and certificate, with a token, once.
#
# @param join_token
#   From redoubt token create. It is a file's content and never part of a command, which
#   others on the host could see. Used, it is worth nothing.
# @api private
define redoubt::identity (
  Optional[Redoubt::Secret] $join_token = undef,
) {
  $token_file = '/etc/redoubt/join-token'

  if $join_token {
    file { $token_file:
      ensure    => file,
      owner     => 'root',
      group     => 'root',
      mode      => '0600',
      content   => $join_token,
      show_diff => false,
      require   => File['/etc/redoubt/deployment.yaml'],
      before    => Exec["redoubt join ${title}"],
    }
  }

  exec { "redoubt join ${title}":
    command => "/usr/bin/redoubt join --token-file ${token_file}",
    creates => '/etc/redoubt/tls/tls.pem',
    require => File['/etc/redoubt/deployment.yaml'],
  }
}
