using KeyVa.Protocol.V1;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>Acknowledgements and receipts as messages. Stateless.</summary>
internal static class WireReceipt
{
    private const string Trailer = "keyva-receipt-bin";

    /// <summary>What is asked for; null for the default.</summary>
    public static Wire.Acknowledgement? ToMessage(Acknowledgement acknowledgement) => acknowledgement.Class == AcknowledgementClass.Default
        ? null
        : new Wire.Acknowledgement { Class = (Wire.Acknowledgement.Types.Class)acknowledgement.Class, Replicas = acknowledgement.Replicas };

    /// <summary>A receipt; none if the server sends none.</summary>
    public static WriteReceipt Of(Receipt? message) => message is null
        ? default
        : new WriteReceipt
        {
            Partition = message.Partition,
            Term = message.Term,
            Index = message.Index,
            Class = message.Class is >= Wire.Acknowledgement.Types.Class.Async and <= Wire.Acknowledgement.Types.Class.Sync ? (AcknowledgementClass)message.Class : AcknowledgementClass.Default,
            Replicas = (byte)Math.Clamp(message.Replicas, 0, byte.MaxValue),
        };

    /// <summary>The receipt of a write that came less far than it was to; none if there is none.</summary>
    public static WriteReceipt Of<T>(in Reply<T> reply)
        where T : class =>
        reply.Trailers.GetBytes(Trailer) is { } bytes && Receipt.Parser.ParseFrom(bytes) is { } receipt ? Of(receipt) : default;
}
