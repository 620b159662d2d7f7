# @summary A role that runs takes in what it can of its changed configuration.
# @api private
define redoubt::reload {
  $reload = "/usr/bin/redoubt reload --config /etc/redoubt/${title}.yaml"

  exec { "redoubt reload ${title}":
    command => $reload,
    onlyif  => "${reload} --dry-run | grep --quiet '^would change'",
    path    => ['/usr/bin', '/bin'],
  }
}
