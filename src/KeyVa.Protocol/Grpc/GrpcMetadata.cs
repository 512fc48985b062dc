using System.Buffers;
using System.Collections;

namespace KeyVa.Protocol.Grpc;

/// <summary>One metadata entry as it travels: the value is ASCII text, base64 if the key ends in <c>-bin</c>.</summary>
/// <param name="Key">Lower-case key.</param>
/// <param name="Value">The value as on the wire.</param>
public readonly record struct GrpcMetadataEntry(string Key, string Value);

/// <summary>
/// Metadata of a call: an ordered list of keys and values, sent as HTTP/2 headers or trailers. Keys may repeat. Keys
/// that end in <c>-bin</c> carry bytes, all others printable ASCII. Not thread-safe.
/// </summary>
public sealed class GrpcMetadata : IEnumerable<GrpcMetadataEntry>
{
    private static readonly SearchValues<char> KeyChars = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789_-.");

    // Headers that belong to HTTP/2 and to the gRPC protocol; never taken for metadata.
    private static readonly string[] ProtocolHeaders =
        ["content-type", "content-length", "te", "date", "server", "host", "connection", "trailer", "transfer-encoding"];

    private readonly List<GrpcMetadataEntry> _entries = [];

    /// <summary>How many entries there are.</summary>
    public int Count => _entries.Count;

    /// <summary>Adds a text value.</summary>
    /// <param name="key">Lower-case letters, digits, <c>_ - .</c>; neither <c>grpc-…</c> nor <c>…-bin</c>.</param>
    /// <param name="value">Printable ASCII.</param>
    /// <exception cref="ArgumentException">The key or the value cannot travel.</exception>
    public GrpcMetadata Add(string key, string value)
    {
        CheckKey(key);
        if (IsBinary(key))
            throw new ArgumentException($"metadata key '{key}' is for bytes", nameof(key));
        if (value.AsSpan().ContainsAnyExceptInRange(' ', '~'))
            throw new ArgumentException($"the value of metadata '{key}' is not printable ASCII", nameof(value));
        _entries.Add(new GrpcMetadataEntry(key, value));
        return this;
    }

    /// <summary>Adds bytes under a key that ends in <c>-bin</c>.</summary>
    /// <exception cref="ArgumentException">The key cannot travel or is for text.</exception>
    public GrpcMetadata Add(string key, ReadOnlySpan<byte> value)
    {
        CheckKey(key);
        if (!IsBinary(key))
            throw new ArgumentException($"metadata key '{key}' does not end in -bin", nameof(key));
        // The protocol asks senders to leave the padding out and receivers to take both.
        _entries.Add(new GrpcMetadataEntry(key, Convert.ToBase64String(value).TrimEnd('=')));
        return this;
    }

    /// <summary>The first value under a key as it travelled, or null.</summary>
    public string? Get(string key)
    {
        foreach (GrpcMetadataEntry entry in _entries)
        {
            if (entry.Key == key)
                return entry.Value;
        }
        return null;
    }

    /// <summary>The first value under a <c>-bin</c> key, or null if there is none or it is no base64.</summary>
    public byte[]? GetBytes(string key) => Get(key) is { } value ? Decode(value) : null;

    /// <inheritdoc/>
    public IEnumerator<GrpcMetadataEntry> GetEnumerator() => _entries.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Whether the values of a key are bytes in base64.</summary>
    internal static bool IsBinary(string key) => key.EndsWith("-bin", StringComparison.Ordinal);

    /// <summary>Takes a header from the wire, unless it belongs to the protocol rather than to the application.</summary>
    internal void AddReceived(string name, string value)
    {
        if (name.StartsWith(':') || name.StartsWith("grpc-", StringComparison.OrdinalIgnoreCase)
            || Array.Exists(ProtocolHeaders, header => header.Equals(name, StringComparison.OrdinalIgnoreCase)))
        {
            return;
        }
        string key = name.ToLowerInvariant();
        if (!IsBinary(key))
        {
            _entries.Add(new GrpcMetadataEntry(key, value));
            return;
        }
        // Repeated binary values may have been joined with commas on the way.
        foreach (string part in value.Split(',', StringSplitOptions.TrimEntries))
            _entries.Add(new GrpcMetadataEntry(key, part));
    }

    private static void CheckKey(string key)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        if (key.AsSpan().ContainsAnyExcept(KeyChars))
            throw new ArgumentException($"metadata key '{key}' may hold a-z 0-9 _ - . only", nameof(key));
        if (key.StartsWith("grpc-", StringComparison.Ordinal))
            throw new ArgumentException($"metadata key '{key}' is reserved", nameof(key));
    }

    private static byte[]? Decode(string value)
    {
        int padded = (value.Length + 3) / 4 * 4;
        byte[] bytes = new byte[padded / 4 * 3];
        return Convert.TryFromBase64String(value.PadRight(padded, '='), bytes, out int written) ? bytes[..written] : null;
    }
}
