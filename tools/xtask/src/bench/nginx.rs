//! nginx with its Lua module, in a Debian guest: what the HTTP figures stand beside.

use std::{fs, path::Path};

use super::debian::{self, Debian};
use crate::{
    packages,
    sh::{Result, target},
};

const PACKAGES: [&str; 14] = [
    "libc6",
    "libcrypt1",
    "libgcc-s1",
    "libluajit2-5.1-2",
    "libnginx-mod-http-lua",
    "libnginx-mod-http-ndk",
    "libpcre2-8-0",
    "libpcre3",
    "libssl3",
    "lua-cjson",
    "lua-resty-core",
    "lua-resty-lrucache",
    "nginx",
    "zlib1g",
];

/// Where a library may lie in a package, and those that are needed.
const LIBRARY_FOLDERS: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
const LIBRARIES: [&str; 11] = [
    "libc.so.6",
    "libcrypt.so.1",
    "libcrypto.so.3",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libluajit-5.1.so.2",
    "libm.so.6",
    "libpcre.so.3",
    "libpcre2-8.so.0",
    "libssl.so.3",
    "libz.so.1",
];

const RUN: &str = "\
$B mount -t devtmpfs none /dev
exec /usr/sbin/nginx -p /tmp -c /nginx.conf
";

/// The handlers do what those of tests/guests/lua-bench do.
const CONFIG: &str = r#"
daemon off;
user root root;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr crit;
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
events { worker_connections 2048; }
http {
    access_log off;
    sendfile on;
    keepalive_requests 100000000;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    lua_package_path "/usr/share/lua/5.1/?.lua;;";
    lua_package_cpath "/lib/?.so;;";
    init_by_lua_block { json = require "cjson" }
    server {
        listen 80 backlog=1024;
        default_type text/plain;
        location = /hello {
            content_by_lua_block { ngx.print("Hello, world!\n") }
        }
        location = /json {
            default_type application/json;
            content_by_lua_block {
                ngx.print(json.encode({ hello = ngx.req.get_uri_args().name, list = { 1, 2, 3 }, ok = true }))
            }
        }
        location /static/ { root /www; }
    }
}
"#;

pub(super) fn guest() -> Result<Debian> {
    let files = packages::unpacked(&target().join("debian/nginx-files"), &PACKAGES, &[])?;
    debian::pack("nginx", RUN, |system| {
        for folder in ["etc", "lib64", "usr/sbin", "usr/lib/nginx/modules", "usr/share/lua/5.1", "www/static"]
        {
            fs::create_dir_all(system.join(folder))?;
        }
        fs::write(system.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
        fs::write(system.join("etc/group"), "root:x:0:\n")?;
        fs::write(system.join("nginx.conf"), CONFIG)?;
        fs::write(system.join("www/static/64k"), super::http::file())?;
        let copy = |path: &str| -> Result<()> {
            let from = files.join(path);
            fs::copy(&from, system.join(path)).map_err(|e| format!("{}: {e}", from.display()))?;
            Ok(())
        };
        copy("usr/sbin/nginx")?;
        copy("usr/lib/nginx/modules/ndk_http_module.so")?;
        copy("usr/lib/nginx/modules/ngx_http_lua_module.so")?;
        copy("lib64/ld-linux-x86-64.so.2").or_else(|_| {
            fs::copy(
                files.join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
                system.join("lib64/ld-linux-x86-64.so.2"),
            )?;
            Ok::<_, Box<dyn std::error::Error>>(())
        })?;
        for library in LIBRARIES {
            let found = LIBRARY_FOLDERS
                .iter()
                .map(|folder| files.join(folder).join(library))
                .find(|path| path.exists());
            let from = found.ok_or_else(|| format!("no package has {library}"))?;
            fs::copy(from, system.join("lib").join(library))?;
        }
        let cjson = files.join("usr/lib/x86_64-linux-gnu/liblua5.1-cjson.so.0.0.0");
        fs::copy(&cjson, system.join("lib/cjson.so")).map_err(|e| format!("{}: {e}", cjson.display()))?;
        copy_all(&files.join("usr/share/lua/5.1"), &system.join("usr/share/lua/5.1"))
    })
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_all(&path, &to)?;
        } else {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}
