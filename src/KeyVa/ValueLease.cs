using KeyVa.Engines;

namespace KeyVa;

/// <summary>
/// A value lent out without a copy. The bytes stay valid until <see cref="Dispose"/>; the compiler keeps the lease on
/// the stack of the thread that took it. Dispose it soon: it holds memory that the store could reuse. Leases of one
/// thread end in the reverse order in which they were taken.
/// </summary>
public ref struct ValueLease
{
    internal Engine? Owner;
    internal nint Pin;

    /// <summary>How the read ended: <see cref="Status.Ok"/>, <see cref="Status.NotFound"/> or a refusal.</summary>
    public Status Status { readonly get; internal set; }

    /// <summary>Whether the key is there.</summary>
    public readonly bool Found => Status == Status.Ok;

    /// <summary>The value; empty unless <see cref="Found"/>.</summary>
    public ReadOnlySpan<byte> Value { readonly get; internal set; }

    /// <summary>The version at which the key was written; 0 unless <see cref="Found"/>.</summary>
    public long Version { readonly get; internal set; }

    /// <summary>When this version was first accepted, in milliseconds since 1970-01-01 UTC.</summary>
    public long ModifiedUnixMilliseconds { readonly get; internal set; }

    /// <summary>When the key expires, in milliseconds since 1970-01-01 UTC; 0: never.</summary>
    public long ExpiresAtUnixMilliseconds { readonly get; internal set; }

    /// <summary>Gives the bytes back. A second call does nothing.</summary>
    public void Dispose()
    {
        Engine? owner = Owner;
        if (owner is not null)
        {
            Owner = null;
            Value = default;
            owner.Release(Pin);
        }
    }
}
