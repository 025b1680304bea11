# The routes for Starman.
use strict;
use warnings;
use Time::HiRes qw(sleep);

sub journal {
    open(my $file, '>>', $ENV{JOURNAL}) or die $!;
    syswrite $file, join(' ', @_) . "\n";
}

sub {
    my $env = shift;
    if ($env->{PATH_INFO} ne '/fast') {
        my %query = map { split /=/ } split /&/, $env->{QUERY_STRING};
        journal('start', $query{id});
        sleep $query{seconds};
        journal('end', $query{id});
    }
    [200, ['Content-Type' => 'text/plain', 'Content-Length' => 5], ["done\n"]];
};
