using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>Encodes one command; see docs/format.md, Command.</summary>
internal sealed class CommandBuilder : IDisposable
{
    public int Count { get; private set; }

    public long DataBytes { get; private set; }

    public NativeBuffer Buffer { get; } = new();

    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, WriteOptions options) => throw new NotSupportedException();

    public void Remove(ReadOnlySpan<byte> key, Condition condition) => throw new NotSupportedException();

    public void Clear()
    {
        Buffer.Clear();
        Count = 0;
        DataBytes = 0;
    }

    public void Dispose() => Buffer.Dispose();
}
