using System.CommandLine;

namespace KeyVa.Cli;

/// <summary>The option that says when a write is to be answered, and the receipt that is told then. Stateless.</summary>
internal static class AcknowledgementOption
{
    public static Option<string?> Create() => new("--ack")
    {
        Description = "When to answer, in a cluster: async (on the leader's disk), semi-sync=K (on K replicas' disks too), sync (committed); tells the receipt",
        HelpName = "CLASS",
    };

    /// <summary>What is asked for; a usage error if it is no class, or in a transaction.</summary>
    public static Acknowledgement Read(Invocation invocation, Option<string?> option)
    {
        if (invocation.Get(option) is not { } text)
        {
            return default;
        }

        if (invocation.Keys is TransactionStore)
        {
            throw CommandException.Usage("--ack does not go with a transaction, whose commit is always acknowledged sync");
        }

        return Acknowledgement.TryParse(text, out Acknowledgement asked)
            ? asked
            : throw CommandException.Usage($"--ack is '{text}'; write async, semi-sync=K with K from 1 to {Acknowledgement.MaxReplicas}, or sync");
    }

    /// <summary>Tells the receipt of a write that asked for a class.</summary>
    public static string Text(Acknowledgement asked, in WriteReceipt receipt) => asked.Class == AcknowledgementClass.Default || !receipt.IsSet
        ? ""
        : $" ({receipt.ClassName}: partition {receipt.Partition}, term {receipt.Term}, index {receipt.Index}, on {receipt.Replicas} {(receipt.Replicas == 1 ? "disk" : "disks")})";

    /// <summary>The same as JSON.</summary>
    public static void Write(System.Text.Json.Utf8JsonWriter json, Acknowledgement asked, in WriteReceipt receipt)
    {
        if (asked.Class == AcknowledgementClass.Default || !receipt.IsSet)
        {
            return;
        }

        json.WriteStartObject("receipt"u8);
        json.WriteNumber("partition"u8, receipt.Partition);
        json.WriteNumber("term"u8, receipt.Term);
        json.WriteNumber("index"u8, receipt.Index);
        json.WriteString("class"u8, receipt.ClassName);
        json.WriteNumber("replicas"u8, receipt.Replicas);
        json.WriteEndObject();
    }
}
