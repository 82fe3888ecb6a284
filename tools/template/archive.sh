# shellcheck shell=bash
# Where this host gets Debian from, for root file systems made on it. Sourced.

# Debian's own archive among the host's apt sources, in whichever of apt's two formats they are
# written: third parties' repositories have no place in a template.
archive_sources() {
    # shellcheck disable=SC2016  # apt's variables, not the shell's
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' |
        awk '$1 == "Debian" && $3 ~ /^bookworm/ { print "deb " $2 " " $3 " " $4 }' | sort -u
}

# The host's proxies and trust, for reaching the same archive while building.
archive_apt_options() {
    apt-config dump | awk '/^Acquire::(http|https|ftp)::/ && !/ "";$/'
}
