using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using KeyVa.Server.Admission;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace KeyVa.Server;

/// <summary>
/// What is kept of one connection of HTTP: where it comes from, and who spoke on it last, since nearly always the same credentials come with each
/// request. Streams of one connection use it at once: what it keeps is exchanged whole.
/// </summary>
internal sealed class HttpConnection(AddressEntry address, Authenticator authenticator, RateLimits rates, Plane plane)
{
    private Spoken? _last;
    private bool _isCertificateRead;
    private (string Fingerprint, string Subject)? _certificate;
    private long _unowed;

    public AddressEntry Address { get; } = address;

    /// <summary>
    /// Counts bytes that were received or sent; they are owed by whoever spoke last, what came before anybody spoke by whoever does first. Few are kept here for a
    /// while, since what is owed all processors write.
    /// </summary>
    public void Count(long bytes)
    {
        long unowed = Interlocked.Add(ref _unowed, bytes);
        if (Volatile.Read(ref _last) is { } last && unowed >= last.RatesOf(plane).MostUnowed)
        {
            OweCounted();
        }
    }

    /// <summary>What was counted is owed now: at the end of the connection, and before somebody else speaks.</summary>
    public void OweCounted()
    {
        if (Volatile.Read(ref _last) is { } last && Interlocked.Exchange(ref _unowed, 0) is not 0 and var bytes)
        {
            last.RatesOf(plane).Owe(bytes);
        }
    }

    /// <summary>The one who sends a request; null: it takes <see cref="IdentifyAsync"/>.</summary>
    public Spoken? TryIdentify(HttpContext http)
    {
        UserDirectory users = authenticator.Users;
        StringValues header = http.Request.Headers.Authorization;
        string? sent = users.IsOpen || header.Count == 0 ? null : header[0];
        if (_last is { } last && IsSame(last.Header, sent) && ReferenceEquals(last.Caller.AsOf(users), last.Caller))
        {
            return last;
        }

        if (sent is not null)
        {
            return null;
        }

        return Keep(null, users.IsOpen ? Caller.Anonymous(users, Address.Text) : OfCertificate(http, users) ?? Caller.Anonymous(users, Address.Text));
    }

    /// <summary>Finds out who sends a request that has credentials.</summary>
    public async ValueTask<(Spoken? Spoken, ProofResult Result)> IdentifyAsync(HttpContext http)
    {
        string sent = http.Request.Headers.Authorization[0]!;
        if (!HttpCredentials.TryRead(sent, out string name, out string secret))
        {
            return (null, new ProofResult(Proof.Wrong));
        }

        ProofResult result = authenticator.TryProve(name, secret, Address.Text) ?? await authenticator.ProveAsync(name, secret, Address.Text);
        return (result.Caller is { } caller ? Keep(sent, caller) : null, result);
    }

    /// <summary>Whether the user that a request was let through as is the same still, with all its rights.</summary>
    public bool IsUnchanged(Caller caller)
    {
        Caller now = caller.AsOf(authenticator.Users);
        return ReferenceEquals(now.User, caller.User) && now.IsKnown == caller.IsKnown;
    }

    private Spoken Keep(string? header, Caller caller)
    {
        Spoken spoken = new(header, caller, rates.Of(Plane.Data, caller), rates.Of(Plane.Control, caller));
        OweCounted();
        Volatile.Write(ref _last, spoken);
        OweCounted();
        return spoken;
    }

    private Caller? OfCertificate(HttpContext http, UserDirectory users)
    {
        if (!Volatile.Read(ref _isCertificateRead))
        {
            _certificate = http.Features.Get<ITlsConnectionFeature>()?.ClientCertificate is { } certificate ? CertificateName.Of(certificate) : null;
            Volatile.Write(ref _isCertificateRead, true);
        }

        return _certificate is { } names ? CertificateCaller.Find(users, names, Address.Text) : null;
    }

    // Where many share one connection to a proxy, the time of a comparison must not tell of another's secret.
    private static bool IsSame(string? kept, string? sent) =>
        ReferenceEquals(kept, sent)
        || (kept is not null && sent is not null && AreEqual(kept, sent));

    /// <summary>As <see cref="CryptographicOperations.FixedTimeEquals"/>, four characters at a time instead of half of one: the time depends on the length alone.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool AreEqual(ReadOnlySpan<char> kept, ReadOnlySpan<char> sent)
    {
        if (kept.Length != sent.Length)
        {
            return false;
        }

        ReadOnlySpan<ulong> some = MemoryMarshal.Cast<char, ulong>(kept);
        ReadOnlySpan<ulong> others = MemoryMarshal.Cast<char, ulong>(sent);
        ulong difference = 0;
        for (int i = 0; i < some.Length; i++)
        {
            difference |= some[i] ^ others[i];
        }

        for (int i = some.Length * (sizeof(ulong) / sizeof(char)); i < kept.Length; i++)
        {
            difference |= (uint)(kept[i] ^ sent[i]);
        }

        return difference == 0;
    }
}

/// <summary>Who spoke on a connection, and which limits it comes under. Immutable, but for what is paid.</summary>
internal sealed record Spoken(string? Header, Caller Caller, RateSet Data, RateSet Control)
{
    private readonly Prepaid _data = new(Data);
    private readonly Prepaid _control = new(Control);

    public RateSet RatesOf(Plane plane) => plane == Plane.Data ? Data : Control;

    /// <summary>Requests that are paid, by plane.</summary>
    public Prepaid PaidOn(Plane plane) => plane == Plane.Data ? _data : _control;

    // A record prints its members, and the header is a secret.
    public override string ToString() => Caller.Name;
}
