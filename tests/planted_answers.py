"""Answers made by hand, with what a careful reader says of each: does the passage support it?"""

PASSAGES = {
    "moon": (
        "Neil Armstrong and Buzz Aldrin landed on the Moon on 20 July 1969. Michael Collins stayed in orbit. They "
        "brought back 21.5 kilograms of rock. The Moon has no air, and its gravity is one sixth of that of the Earth."
    ),
    "contract": (
        "Either party may end the contract with three months' notice. The supplier is not liable for delays caused by "
        "strikes. Payment is due within 30 days after the invoice. Late payments bear interest of 5 percent a year."
    ),
    "tea": (
        "Green tea is brewed at 80 degrees for two minutes. Black tea takes boiling water. Tea was first drunk in "
        "China. In 2019 the world grew about six million tonnes of it."
    ),
}  # fmt: skip

SUPPORTED = (
    ("moon", "Neil Armstrong and Buzz Aldrin landed on the Moon on 20 July 1969."),
    ("moon", "The Moon has no air."),
    ("moon", "Armstrong and Aldrin landed on the Moon in 1969."),
    ("moon", "The gravity of the Moon is one sixth of that of the Earth."),
    ("contract", "Payment is due within thirty days after the invoice."),
    ("contract", "The supplier is not liable for delays caused by strikes."),
    ("contract", "Late payments bear interest of 5 percent."),
    ("tea", "Black tea takes boiling water."),
    ("tea", "Tea was first drunk in China."),
    ("tea", "Green tea is brewed for two minutes at 80 degrees."),
)

UNSUPPORTED = (
    ("moon", "Neil Armstrong and Buzz Aldrin landed on the Moon on 20 July 1979."),  # a year
    ("moon", "They brought back 25.1 kilograms of rock."),  # a number
    ("moon", "The Moon has air."),  # a denial left out
    ("moon", "Yuri Gagarin landed on the Moon on 20 July 1969."),  # a name
    ("moon", "The Moon formed after a collision with another planet."),  # not there
    ("contract", "The supplier is liable for delays caused by strikes."),
    ("contract", "Payment is due within 60 days after the invoice."),
    ("contract", "The buyer may assign the contract to a third party."),
    ("contract", "Late payments bear no interest."),
    ("tea", "Green tea is brewed at 95 degrees for two minutes."),
    ("tea", "Coffee was first drunk in Ethiopia."),
    ("tea", "In 2009 the world grew about six million tonnes of it."),
)

PARAPHRASED = (
    ("moon", "There is no atmosphere on the Moon."),
    ("contract", "The agreement can be terminated by both sides at three months' notice."),
    ("contract", "Invoices must be paid within 30 days."),
    ("tea", "People first drank tea in China."),
)
"""Supported in other words: what comparing words misses more often than not."""
