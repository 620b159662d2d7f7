# @summary gateway.yaml or sidecar.yaml, as it follows from the deployment.
# @api private
define redoubt::config {
  $render = "/usr/bin/redoubt render config --host ${redoubt::host} --name ${redoubt::certname}"

  exec { "redoubt render config ${title}":
    command => "${render} --out ${title}",
    unless  => "${render} | cmp --silent - ${title}",
    path    => ['/usr/bin', '/bin'],
    require => File['/etc/redoubt/deployment.yaml'],
  }
}
