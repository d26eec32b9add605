# Forward 127.0.0.1:8080 to http of kwok-controller
