"""Everyday phrases in other languages, by espeak-ng's names of these: what is not to be written
down. Languages to train on, and others to test with."""

__all__ = ["FOREIGN", "NEW_FOREIGN"]

FOREIGN: dict[str, tuple[str, ...]] = {
    "de": (
        "guten morgen wie geht es dir heute",
        "ich möchte bitte einen kaffee mit milch",
        "der zug nach berlin fährt um acht uhr ab",
        "kannst du mir sagen wo der bahnhof ist",
        "das wetter ist heute sehr schön",
        "wir gehen am samstag ins kino",
        "meine schwester wohnt in einem kleinen haus",
        "hast du den schlüssel gesehen",
    ),
    "fr": (
        "bonjour comment allez vous aujourd'hui",
        "je voudrais un café s'il vous plaît",
        "le train pour paris part à huit heures",
        "où se trouve la gare la plus proche",
        "il fait très beau ce matin",
        "nous allons au cinéma samedi soir",
        "ma soeur habite dans une petite maison",
        "est ce que tu as vu mes clés",
    ),
    "es": (
        "buenos días cómo estás hoy",
        "quisiera un café con leche por favor",
        "el tren para madrid sale a las ocho",
        "dónde está la estación más cercana",
        "hace muy buen tiempo esta mañana",
        "vamos al cine el sábado por la noche",
        "mi hermana vive en una casa pequeña",
        "has visto mis llaves",
    ),
    "it": (
        "buongiorno come stai oggi",
        "vorrei un caffè con il latte per favore",
        "il treno per roma parte alle otto",
        "dove si trova la stazione più vicina",
        "stamattina fa molto bello",
        "andiamo al cinema sabato sera",
        "mia sorella abita in una piccola casa",
        "hai visto le mie chiavi",
    ),
    "nl": (
        "goedemorgen hoe gaat het vandaag met je",
        "ik wil graag een kopje koffie met melk",
        "de trein naar amsterdam vertrekt om acht uur",
        "waar is het dichtstbijzijnde station",
        "het is vanochtend erg mooi weer",
        "we gaan zaterdag naar de bioscoop",
        "mijn zus woont in een klein huis",
        "heb je mijn sleutels gezien",
    ),
    "pl": (
        "dzień dobry jak się masz dzisiaj",
        "poproszę kawę z mlekiem",
        "pociąg do warszawy odjeżdża o ósmej",
        "gdzie jest najbliższy dworzec",
        "dziś rano jest bardzo ładna pogoda",
        "w sobotę idziemy do kina",
        "moja siostra mieszka w małym domu",
        "czy widziałeś moje klucze",
    ),
    "sv": (
        "god morgon hur mår du idag",
        "jag skulle vilja ha en kaffe med mjölk",
        "tåget till stockholm går klockan åtta",
        "var ligger närmaste station",
        "det är mycket vackert väder i morse",
        "vi går på bio på lördag",
        "min syster bor i ett litet hus",
        "har du sett mina nycklar",
    ),
    "pt": (
        "bom dia como você está hoje",
        "eu gostaria de um café com leite por favor",
        "o trem para lisboa parte às oito horas",
        "onde fica a estação mais próxima",
        "o tempo está muito bonito esta manhã",
        "vamos ao cinema no sábado à noite",
        "minha irmã mora numa casa pequena",
        "você viu as minhas chaves",
    ),
}

NEW_FOREIGN: dict[str, tuple[str, ...]] = {
    "fi": (
        "hyvää huomenta mitä kuuluu tänään",
        "ottaisin kupin kahvia maidolla kiitos",
        "juna helsinkiin lähtee kello kahdeksan",
        "missä on lähin rautatieasema",
    ),
    "cs": (
        "dobré ráno jak se dnes máte",
        "dal bych si kávu s mlékem prosím",
        "vlak do prahy odjíždí v osm hodin",
        "kde je nejbližší nádraží",
    ),
    "hu": (
        "jó reggelt hogy vagy ma",
        "szeretnék egy kávét tejjel kérem",
        "a vonat budapestre nyolc órakor indul",
        "hol van a legközelebbi állomás",
    ),
    "tr": (
        "merhaba nereye gidiyorsun",
        "bir kahve istiyorum lütfen",
        "tren saat sekizde gidiyor",
        "bu otobüs nereye gider",
    ),
}
