using Google.Protobuf;
using KeyVa.Protocol.V1;
using Microsoft.AspNetCore.Http;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>
/// When a request wants its write answered, and what it is told of it: fields of data.proto, and two headers of REST (docs/replication.md,
/// Acknowledgement). Stateless.
/// </summary>
internal static class Receipts
{
    internal const string AcknowledgementHeader = "KeyVa-Acknowledgement";
    internal const string ReceiptHeader = "KeyVa-Receipt";
    internal const string ReceiptTrailer = "keyva-receipt-bin";

    internal const string Allowed = "async, semi-sync=K with K replicas beside the leader, sync";

    /// <summary>What the header asks for; false with what is wrong.</summary>
    internal static bool TryRead(IHeaderDictionary headers, out Acknowledgement acknowledgement, out Problem? problem)
    {
        acknowledgement = default;
        problem = null;
        if (!headers.TryGetValue(AcknowledgementHeader, out Microsoft.Extensions.Primitives.StringValues values) || values.Count == 0)
        {
            return true;
        }

        if (values.Count == 1 && Acknowledgement.TryParse(values[0], out acknowledgement))
        {
            return true;
        }

        problem = Problem.Malformed($"{AcknowledgementHeader} is '{values}'; allowed is: {Allowed}");
        return false;
    }

    /// <summary>What a message asks for; nothing is the default. False with what is wrong.</summary>
    internal static bool TryRead(Wire.Acknowledgement? message, out Acknowledgement acknowledgement, out string wrong)
    {
        wrong = "";
        acknowledgement = default;
        if (message is null || (message.Class == Wire.Acknowledgement.Types.Class.Default && message.Replicas == 0))
        {
            return true;
        }

        switch (message.Class)
        {
            case Wire.Acknowledgement.Types.Class.Async when message.Replicas == 0:
                acknowledgement = Acknowledgement.Async;
                return true;
            case Wire.Acknowledgement.Types.Class.Sync when message.Replicas == 0:
                acknowledgement = Acknowledgement.Sync;
                return true;
            case Wire.Acknowledgement.Types.Class.SemiSync when message.Replicas is >= 1 and <= Acknowledgement.MaxReplicas:
                acknowledgement = Acknowledgement.SemiSync(message.Replicas);
                return true;
            default:
                wrong = $"acknowledgement has class {message.Class} and replicas {message.Replicas}; allowed is: SEMI_SYNC with 1 to {Acknowledgement.MaxReplicas} replicas, the other classes with none";
                return false;
        }
    }

    /// <summary>A receipt as a message; null: there is none.</summary>
    internal static Receipt? ToMessage(in WriteReceipt receipt) => receipt.IsSet
        ? new Receipt
        {
            Partition = receipt.Partition,
            Term = receipt.Term,
            Index = receipt.Index,
            Class = (Wire.Acknowledgement.Types.Class)receipt.Class,
            Replicas = receipt.Replicas,
        }
        : null;

    /// <summary>A receipt as the bytes of a trailer, for a write that came less far than it was to.</summary>
    internal static byte[] ToTrailer(in WriteReceipt receipt) => ToMessage(receipt)!.ToByteArray();

    /// <summary>Adds the receipt to an answer, if there is one.</summary>
    internal static void Add(IHeaderDictionary headers, in WriteReceipt receipt)
    {
        if (receipt.IsSet)
        {
            headers[ReceiptHeader] = receipt.ToString();
        }
    }
}
