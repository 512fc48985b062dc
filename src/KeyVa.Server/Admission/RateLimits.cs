using KeyVa.Server.Identity;

namespace KeyVa.Server.Admission;

/// <summary>The limits of requests and bytes of a server, and who comes under which. Thread-safe.</summary>
internal sealed class RateLimits(PlaneLimits data, PlaneLimits control)
{
    private readonly OfPlane _data = new(data);
    private readonly OfPlane _control = new(control);

    /// <summary>Whether the bytes of connections are to be counted.</summary>
    public bool CountsBytes { get; } = data.HasBytes || control.HasBytes;

    /// <summary>Requests and bytes that were refused since the start.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    private long _refused;

    public void NoteRefused() => Interlocked.Increment(ref _refused);

    /// <summary>The limits of a caller.</summary>
    public RateSet Of(Plane plane, Caller caller) => (plane == Plane.Data ? _data : _control).Of(caller);

    private sealed class OfPlane(PlaneLimits limits)
    {
        private readonly RateTable<string>? _userRequests = Table(limits.UserRequests);
        private readonly RateTable<string>? _addressRequests = Table(limits.AddressRequests);
        private readonly Rate? _requests = One(limits.TotalRequests);
        private readonly RateTable<string>? _userBytes = Table(limits.UserBytes);
        private readonly RateTable<string>? _addressBytes = Table(limits.AddressBytes);
        private readonly Rate? _bytes = One(limits.TotalBytes);

        public RateSet Of(Caller caller) => limits.HasRequests || limits.HasBytes
            ? new RateSet(Set(caller, _userRequests, _addressRequests, _requests), Set(caller, _userBytes, _addressBytes, _bytes))
            : RateSet.None;

        private static Rate[] Set(Caller caller, RateTable<string>? users, RateTable<string>? addresses, Rate? total)
        {
            // Whoever is nobody in particular counts by address alone.
            Rate?[] all = [caller.User is { } user ? users?.Find(user.Name) : null, addresses?.Find(caller.Address), total];
            return [.. all.OfType<Rate>()];
        }

        private static RateTable<string>? Table(long perSecond) => perSecond > 0 ? new RateTable<string>(new RateOptions { PerSecond = perSecond }) : null;

        private static Rate? One(long perSecond) => perSecond > 0 ? new Rate(new RateOptions { PerSecond = perSecond }) : null;
    }
}
