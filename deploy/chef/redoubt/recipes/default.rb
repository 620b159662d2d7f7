raise 'redoubt: choose redoubt::gateway for a cache host or redoubt::sidecar for an application host'
