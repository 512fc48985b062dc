using System.Buffers;
using System.Diagnostics.CodeAnalysis;

namespace KeyVa.Server;

/// <summary>A key out of a path, in pooled memory; dispose it once no call uses the key any more.</summary>
internal readonly struct RestKey : IDisposable
{
    private const string Base64Hint = "; use ?encoding=base64url, which carries every byte";

    private readonly byte[] _bytes;
    private readonly int _length;

    private RestKey(byte[] bytes, int length)
    {
        _bytes = bytes;
        _length = length;
    }

    public ReadOnlySpan<byte> Span => _bytes.AsSpan(0, _length);

    public ReadOnlyMemory<byte> Memory => _bytes.AsMemory(0, _length);

    /// <summary>Decodes what follows <c>/kv/</c>.</summary>
    public static bool TryDecode(ReadOnlySpan<char> path, bool base64, out RestKey key, [NotNullWhen(false)] out Problem? problem)
    {
        key = default;
        if (!base64 && UrlBytes.HasDotSegment(path))
        {
            problem = Problem.Malformed("a path cannot carry the segments '.' and '..', clients and proxies resolve them" + Base64Hint);
            return false;
        }

        byte[] bytes = ArrayPool<byte>.Shared.Rent(Math.Max(1, UrlBytes.MaxBytes(path.Length)));
        bool valid = base64
            ? UrlBytes.TryDecodeBase64(path, bytes, out int length)
            : UrlBytes.TryDecodePercent(path, bytes, plusIsSpace: false, out length);
        if (!valid)
        {
            ArrayPool<byte>.Shared.Return(bytes);
            problem = Problem.Malformed("the key in the path " + (base64 ? UrlBytes.BadBase64 : UrlBytes.BadPercent));
            return false;
        }

        key = new RestKey(bytes, length);
        problem = null;
        return true;
    }

    public void Dispose()
    {
        if (_bytes is not null)
        {
            ArrayPool<byte>.Shared.Return(_bytes);
        }
    }
}
