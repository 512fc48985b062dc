using System.Buffers;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// Asks the writer below for a stated number of bytes whenever protobuf asks for some. Protobuf does not say how many it wants, and
/// once the caller is gone Kestrel gives an empty span to whoever does not say: protobuf would then ask for ever. Used by one
/// thread.
/// </summary>
internal sealed class ProtobufOutput(IBufferWriter<byte> output) : IBufferWriter<byte>
{
    private const int LeastBytes = 4096;

    public void Advance(int count) => output.Advance(count);

    public Memory<byte> GetMemory(int sizeHint = 0) => output.GetMemory(Math.Max(sizeHint, LeastBytes));

    public Span<byte> GetSpan(int sizeHint = 0) => output.GetSpan(Math.Max(sizeHint, LeastBytes));
}
